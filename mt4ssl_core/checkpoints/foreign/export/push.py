"""An exported folder on Hugging Face's hub.

The token is what its own client finds: $HF_TOKEN, or that of ``hf auth login``. It is never shown.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


def check(name: str) -> None:
    """See, before there is anything to push, that ``name`` can be one and that a token is there.

    Raises ValueError: it is not ORG/NAME, the hub's client is missing, or nobody is logged in.
    """
    client = _client()
    try:
        client.utils.validate_repo_id(name)
        named = name.count("/") == 1
    except ValueError:
        named = False
    if not named:
        raise ValueError(
            f"--push {name!r}: not a name on the hub; give ORG/NAME, of letters, digits, -, _ and ."
        )
    if not client.get_token():
        raise ValueError(f"--push {name}: not logged in to Hugging Face's hub; {LOGIN}")


def push(folder: Path, name: str, private: bool = True) -> str:
    """Upload what is in ``folder`` as the model ORG/NAME; returns its address.

    A model that is not there yet is made, for nobody else to see unless ``private`` is false; one
    that is there stays as visible as it is, and files of it that are not in ``folder`` stay.

    Raises ValueError: as `check`, or the hub refuses or cannot be reached; ``folder`` stays.
    """
    check(name)
    api = _client().HfApi()
    with _explained(folder, name):
        made = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Export by mt4ssl")
    return str(made)


def _client() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.utils  # of which nothing is there before
    except ImportError:
        raise ValueError(
            'to push needs the client of Hugging Face\'s hub: pip install "mt4ssl[hf]"'
        ) from None
    return huggingface_hub


@contextmanager
def _explained(folder: Path, name: str) -> Iterator[None]:
    """Raise what goes wrong at the hub as ValueError that says what to do, without the token."""
    try:
        yield
    except Exception as error:  # whatever its client raises: its own errors, its transport's
        reason = _reason(error, name)
        raise ValueError(f"--push {name}: {reason}; {folder} is written and stays") from None


def _reason(error: Exception, name: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"the hub does not accept this token; {LOGIN}"
    if status == 403:
        return (
            f"no permission to write there; ask {name.split('/')[0]} for it, give another ORG, or "
            "a token that may write"
        )
    text = " ".join(str(error).split())
    if token := _client().get_token():
        text = text.replace(token, "***")
    said = text[:200] or type(error).__name__
    if status is not None:
        return f"the hub refuses ({status}: {said})"
    return f"cannot be done ({said}); where there is network, give the same command again"
