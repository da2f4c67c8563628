"""The progress bar that s3prl's runner counts its steps with.

What: with TQDM_DISABLE in the environment (any value, even 0) training never ends.
Why: the runner reads its step from ``pbar.n``, and a disabled bar does not count.
Since: tqdm 4.66, which reads that variable.
Here: the runner gets a bar that counts even when it is not shown. Its per-epoch bars are not shown,
    since a small corpus has thousands of epochs; the bar over all steps, with rate and time left,
    stays.
Delete when: s3prl counts its steps itself.
"""

from typing import Any

from tqdm import tqdm


def install() -> bool:
    """Give s3prl's runner the counting bar."""
    from s3prl.downstream import runner

    if runner.tqdm is CountingBar:
        return False
    runner.tqdm = CountingBar
    return True


class CountingBar(tqdm):
    """A tqdm bar whose ``n`` goes up with every update, shown or not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("desc") == "train":  # the bar of one epoch
            kwargs["disable"] = True
        super().__init__(*args, **kwargs)

    def update(self, n: float | None = 1) -> bool | None:
        """Count ``n`` steps."""
        if self.disable:
            self.n += n or 0
            return None
        return super().update(n)
