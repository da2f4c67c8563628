"""s3prl's replacement of ``builtins.isinstance``.

What: s3prl's command replaces the built-in isinstance for the whole process, and the replacement
    raises TypeError on ``isinstance(defaultdict(), (dict, list))``, which any library may ask.
Why: a work-round for DataParallel.
Since: it has not been needed from torch 1.8 on.
Here: the function that replaces it does nothing.
Delete when: s3prl removes hack_isinstance.
"""


def install() -> bool:
    """Make s3prl's hack_isinstance do nothing."""
    from s3prl.utility import helper

    if helper.hack_isinstance is _leave_alone:
        return False
    helper.hack_isinstance = _leave_alone
    return True


def _leave_alone() -> None:
    """Leave the built-in as it is."""
