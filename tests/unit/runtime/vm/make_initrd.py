#!/usr/bin/env python3
"""Writes an initial ramdisk (cpio "newc") that runs a test program on cgroup v2.

usage: make_initrd.py OUTPUT TEST_PROGRAM OVERLAY_MODULE FILTER

Source of the format: Documentation/driver-api/early-userspace/buffer-format.rst.
"""
import gzip, os, re, stat, subprocess, sys

INIT = """#!/bin/busybox sh
# pivot_root does not work on the initial ramdisk itself: everything moves to a tmpfs first.
/bin/busybox mkdir -p /new
/bin/busybox mount -t tmpfs none /new
/bin/busybox cp -a /bin /lib /lib64 /usr /etc /test /overlay.ko /second /new/
/bin/busybox mkdir -p /new/proc /new/sys /new/dev /new/tmp /new/run
exec /bin/busybox switch_root /new /second
"""

SECOND = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts; mount -t tmpfs shm /dev/shm; mount -t devpts devpts /dev/pts
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
insmod /overlay.ko
cd /
/test --gtest_filter='%s'
echo "EXIT $?"
reboot -f
"""


def entry(name, mode, data=b"", rdev=(0, 0)):
    entry.ino += 1
    fields = [entry.ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


entry.ino = 0


def main(output, program, module, tests):
    files = {"/init": INIT.encode(), "/second": (SECOND % tests).encode(), "/overlay.ko": open(module, "rb").read(),
             "/bin/busybox": open("/bin/busybox", "rb").read(), "/test": open(program, "rb").read(),
             "/etc/passwd": b"root:x:0:0:root:/:/bin/sh\n", "/usr/.keep": b""}
    for path in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", program], capture_output=True, text=True).stdout):
        files[path] = open(path, "rb").read()
    directories = {"/dev", "/lib", "/lib64"}
    for path in files:
        while (path := os.path.dirname(path)) != "/":
            directories.add(path)
    out = b"".join(entry(d[1:], stat.S_IFDIR | 0o755) for d in sorted(directories))
    out += entry("dev/console", stat.S_IFCHR | 0o600, rdev=(5, 1))
    out += entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox")
    out += b"".join(entry(p[1:], stat.S_IFREG | 0o755, data) for p, data in files.items())
    out += entry("TRAILER!!!", 0)
    with gzip.open(output, "wb", 1) as f:
        f.write(out)


main(*sys.argv[1:])
