"""Text of whoever wrote it, fit for a terminal and a line of a log.

Messages of pods and of code come from strangers, and an escape sequence can rewrite what stands on the screen. Of what is
stored for programs, such as results and errors, nothing is changed.
"""


def printable(text: str, *, kept: str = "\n\t") -> str:
    """The text with what could steer a terminal shown as its code; of such characters those of `kept` stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else f"\\x{ord(c):02x}" for c in text)


def printable_below(text: str, indent: int = 2) -> str:
    """The printable text with all lines but the first indented, by so many spaces: none looks like the beginning of another."""
    return printable(text).replace("\n", "\n" + " " * indent)
