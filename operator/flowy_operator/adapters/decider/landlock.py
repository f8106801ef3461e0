"""Landlock: the kernel's own rule that a process may touch no file and no network, whatever calls it makes.

A second wall behind the filter, where the kernel has it (5.13, and switched on). Its versions know more kinds of access
from one to the next, and refuse a ruleset that names one they don't know.
"""

import ctypes
import os
import struct

from flowy_operator.adapters.decider import kernel
from flowy_operator.adapters.decider.syscalls import Architecture

_VERSION_FLAG = 1
_FIRST_FILE_RIGHTS = 13  # in version 1: execute ... make_sym
_TCP_BIND_AND_CONNECT = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def version(architecture: Architecture) -> int:
    """The kernel's version of the interface, 0 if there is none."""
    try:
        return kernel.call(
            architecture.numbers["landlock_create_ruleset"],
            ctypes.c_void_p(None),
            ctypes.c_ulong(0),
            ctypes.c_ulong(_VERSION_FLAG),
        )
    except OSError:  # ENOSYS: not built in; EOPNOTSUPP: switched off; EPERM: an old container profile
        return 0


def ruleset(version: int) -> bytes:
    """`struct landlock_ruleset_attr`: all that this version can forbid. What it does not know yet must not be there."""
    files = (1 << _FIRST_FILE_RIGHTS) - 1
    for since, right in ((2, 13), (3, 14), (5, 15)):  # refer, truncate, ioctl of devices
        if version >= since:
            files |= 1 << right
    fields = [files]
    if version >= 4:  # noqa: PLR2004 - as above
        fields.append(_TCP_BIND_AND_CONNECT)
    if version >= 6:  # noqa: PLR2004
        fields.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    return struct.pack(f"<{len(fields)}Q", *fields)


def forbid_all(architecture: Architecture) -> int:
    """Forbid this process and its children all that Landlock knows, without exceptions. Returns its version, 0: none.

    Sockets and files that are open stay usable.
    """
    found = version(architecture)
    if found == 0:
        return 0
    content = ruleset(found)
    attributes = ctypes.create_string_buffer(content, len(content))
    descriptor = kernel.call(
        architecture.numbers["landlock_create_ruleset"],
        ctypes.c_void_p(ctypes.addressof(attributes)),
        ctypes.c_ulong(len(content)),
        ctypes.c_ulong(0),
    )
    try:
        kernel.call(architecture.numbers["landlock_restrict_self"], ctypes.c_long(descriptor), ctypes.c_ulong(0))
    finally:
        os.close(descriptor)
    return found
