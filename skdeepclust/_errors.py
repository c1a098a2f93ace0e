"""What our errors quote of others."""

__all__ = ["first_line"]


def first_line(error: BaseException) -> str:
    r"""Quote the first line of what an error says, or its name if it says nothing.

    Parameters
    ----------
    error : BaseException
        What was caught.

    Returns
    -------
    str

    Examples
    --------
    >>> first_line(ValueError("one\ntwo")), first_line(KeyError())
    ('one', 'KeyError()')
    """
    return (str(error).strip() or repr(error)).splitlines()[0]
