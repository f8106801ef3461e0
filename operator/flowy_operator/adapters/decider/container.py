"""The decider as a container's process: this process becomes the zygote."""

import os
import subprocess
from collections.abc import Collection
from typing import NoReturn

from flowy_operator.adapters.decider.frames import Home, Layout, Start, Strictness, life_path
from flowy_operator.adapters.decider.homes import release, socket_path_of
from flowy_operator.adapters.decider.spawn import ENVIRONMENT, command

_LONGEST_PATH = 107  # bytes of a unix socket's path, by the kernel


class SocketRefused(Exception):
    """No socket can be made there. `str()` is for the person who named the place."""


def become_zygote(socket_path: str, layouts: Collection[Layout], strictness: Strictness) -> NoReturn:
    """Serve on `socket_path`, until SIGTERM. Raises `SocketRefused`.

    By exec, so that nothing of this process is left in it: no environment, no memory. The one with a scrambled memory, if it
    is among `layouts`, is its child, and the two end together: a container of which half is missing would not be started
    again.
    """
    folder = os.path.dirname(socket_path) or "."  # noqa: PTH120 - a text all the way
    longest = max(len(os.fsencode(life_path(socket_path_of(socket_path, layout)))) for layout in Layout)
    if longest > _LONGEST_PATH:
        raise SocketRefused(f"{socket_path} is {longest - _LONGEST_PATH} bytes too long for a socket")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SocketRefused(f"{folder} is no folder in which this user can make a socket")
    companion = 0
    if Layout.SCRAMBLED in layouts:
        words = command(_start(socket_path, Layout.SCRAMBLED, strictness))
        # A pipe that ends with us. The signal at a parent's death does not come: Landlock, which keeps the decisions' processes
        # from signalling anybody else, keeps the kernel from it as well.
        life, held = os.pipe()
        companion = subprocess.Popen(words, env=ENVIRONMENT, cwd="/", stdin=life).pid  # noqa: S603 - ours
        os.close(life)
        os.set_inheritable(held, True)
    words = command(_start(socket_path, Layout.PLAIN, strictness, companion))
    os.chdir("/")
    os.execve(words[0], words, ENVIRONMENT)  # noqa: S606 - ours


def _start(socket_path: str, layout: Layout, strictness: Strictness, companion: int = 0) -> Start:
    return Start(
        socket_path=os.path.abspath(socket_path_of(socket_path, layout)),  # noqa: PTH100 - a text all the way
        strictness=strictness,
        home=Home.CONTAINER,
        layout=layout,
        release=release(),
        companion=companion,
    )
