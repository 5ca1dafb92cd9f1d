"""The filter of system calls, made with libseccomp: what programs of a benchmark never need and escapes do."""

import errno
import os
import socket
import tempfile

_NAMESPACES = 0x7E020000  # every CLONE_NEW* flag that clone takes

_FORBIDDEN = (
    # other processes' memory, and tracing
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "kcmp",
    "pidfd_getfd",
    "perf_event_open",
    "userfaultfd",
    # mounts, roots, namespaces
    "mount",
    "umount2",
    "umount",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "move_mount",
    "mount_setattr",
    # the kernel itself
    "bpf",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "syslog",
    "quotactl",
    "iopl",
    "ioperm",
    "modify_ldt",
    "lookup_dcookie",
    "nfsservctl",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    # keys, handles, watches beyond the folder
    "add_key",
    "request_key",
    "keyctl",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    # memory and queues that no limit counts, or that outlive their program
    "memfd_create",
    "memfd_secret",
    "shmget",
    "shmat",
    "shmctl",
    "msgget",
    "msgsnd",
    "semget",
    "semctl",
    "mq_open",
    "mq_unlink",
    # interfaces that go round a filter
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "io_setup",
    "personality",
)
_SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")


def filter_instructions(*, signals: bool) -> bytes | None:
    """Returns the filter in the kernel's form, or None where libseccomp is missing.

    Args:
        signals: Whether programs may send signals; without a PID namespace they would reach this user's other processes.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):  # it raises RuntimeError where the library is not found
        return None
    refuse = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in (*_FORBIDDEN, *(() if signals else _SIGNALS)):
        try:
            rules.add_rule(refuse, name)
        except (ValueError, OSError):
            continue  # not a call of this architecture, or younger than this library
    rules.add_rule(refuse, "socket", pyseccomp.Arg(0, pyseccomp.NE, socket.AF_UNIX))
    for bit in (1 << place for place in range(32) if _NAMESPACES >> place & 1):
        rules.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, bit, bit))
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags cannot be read; the C library then uses clone
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
