"""Run inside a sandbox: takes on, as systemd does last of all, what a process takes on itself, and becomes the command.

``python confined.py FACTS COMMAND…``, where FACTS is JSON: ``calls`` (names of the system calls that are allowed),
``families`` (numbers of address families), ``execute`` (whether written memory may be executed), ``umask``. Uses the
standard library alone, and the C library's neighbour libseccomp.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import sys

ALLOW, REFUSE, MISSING = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38  # SCMP_ACT_ALLOW, _ERRNO(EPERM), _ERRNO(ENOSYS)
MASKED_EQUAL, EQUAL = 7, 4  # SCMP_CMP_MASKED_EQ, SCMP_CMP_EQ
NAMESPACES = 0x7E020080  # CLONE_NEW…, all of them
PR_SET_MDWE = 65


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def confine(results: dict[str, object]) -> None:
    """Takes it on; there is no way back."""
    os.umask(int(str(results["umask"]), 8))
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(REFUSE))

    def rule(action: int, name: str, *conditions: Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # this processor has it
            done = library.seccomp_rule_add_array(
                context, action, number, len(conditions), (Comparison * len(conditions))(*conditions)
            )
            assert done == 0, (name, done)

    calls = results["calls"]
    assert isinstance(calls, list)
    for name in calls:
        if name == "socket":  # RestrictAddressFamilies=
            for family in results["families"]:  # type: ignore[attr-defined]
                rule(ALLOW, name, Comparison(0, EQUAL, family, 0))
        elif name in ("clone", "unshare"):  # RestrictNamespaces=
            rule(ALLOW, name, Comparison(0, MASKED_EQUAL, NAMESPACES, 0))
        elif name == "clone3":  # its flags cannot be seen, and who is told that it is missing uses clone
            rule(MISSING, name)
        elif name in ("chmod", "fchmod", "fchmodat"):  # RestrictSUIDSGID=
            rule(ALLOW, name, Comparison(2 if name == "fchmodat" else 1, MASKED_EQUAL, 0o6000, 0))
        elif name == "personality":  # LockPersonality=: only the question
            rule(ALLOW, name, Comparison(0, EQUAL, 0xFFFFFFFF, 0))
        elif name not in ("setns",):
            rule(ALLOW, name)
    libc = ctypes.CDLL(None, use_errno=True)
    if not results["execute"]:
        assert libc.prctl(PR_SET_MDWE, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    assert platform.system() == "Linux"
    confine(json.loads(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
