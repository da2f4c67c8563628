"""What is installed; of s3prl its release, or ESPnet's fork, a package of the same name."""

import importlib.util
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

NAMES = ("s3prl", "espnet-s3prl")  # on PyPI


def s3prl() -> str:
    """Return the version of the s3prl that would be imported; the fork's with its name before it.

    Raises:
        ValueError: none is installed, or both are, in the same folder.
    """
    spec = importlib.util.find_spec("s3prl")
    if spec is None or spec.origin is None:  # a folder of that name is no package
        raise ValueError('s3prl is not installed; install it with: pip install "mt4ssl[superb]"')
    folder = Path(spec.origin).parent.resolve()
    found = {name: of for name in NAMES if (of := _version_in(name, folder)) is not None}
    if len(found) > 1:
        both = " and ".join(f"{name} {of}" for name, of in found.items())
        raise ValueError(
            f"{both} are both installed in {folder} and have written over each other's files; "
            f"remove both with: pip uninstall -y {' '.join(NAMES)}; then install one: "
            f"pip install --no-deps s3prl=={found['s3prl']}, or {NAMES[1]}=={found[NAMES[1]]}"
        )
    for name, of in found.items():
        return of if name == "s3prl" else f"{name} {of}"
    told = folder / "version.txt"  # a checkout without metadata
    return told.read_text().strip() if told.is_file() else "of unknown version"


def version_of(name: str) -> str | None:
    """Return the version of a distribution; None when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _version_in(name: str, folder: Path) -> str | None:
    """Return the version of a distribution, if it is that of the package in ``folder``."""
    if version_of(name) is None:
        return None
    found = distribution(name)
    return found.version if Path(str(found.locate_file("s3prl"))).resolve() == folder else None
