#!/bin/sh
# Runs the runtime's tests on cgroup v2: in an emulated machine without any network.
#   run.sh TEST_PROGRAM [GTEST_FILTER]
# Needs qemu-system-x86, lz4 and the Debian cloud kernel's package, unpacked in $KCUBE_VM_KERNEL (dpkg -x …deb there).
set -eu
here=$(dirname "$0")
program=$1
filter=${2:-*}
kernel=${KCUBE_VM_KERNEL:?the directory with an unpacked linux-image-*-cloud-amd64 package}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 "$here/make_initrd.py" "$scratch/initrd.gz" "$program" "$(find "$kernel" -name overlay.ko)" "$filter"
# The kernel proper, out of the compressed image: booted directly (PVH), which needs no firmware.
python3 - "$kernel"/boot/vmlinuz-* >"$scratch/vmlinux.lz4" <<'END'
import struct, sys
image = open(sys.argv[1], "rb").read()
setup = (image[0x1f1] + 1) * 512
offset, length = struct.unpack_from("<II", image, 0x248)
sys.stdout.buffer.write(image[setup + offset:setup + offset + length - 4])
END
lz4 -d -q -f "$scratch/vmlinux.lz4" "$scratch/vmlinux"
# Software emulation: hardware-assisted guests hang on machines of the kind this is developed on.
timeout "${KCUBE_VM_TIMEOUT:-900}" qemu-system-x86_64 -M microvm -accel tcg -cpu max -m 1024 -serial stdio -display none -nic none \
  -no-reboot -kernel "$scratch/vmlinux" -initrd "$scratch/initrd.gz" -append "console=ttyS0 earlyprintk=ttyS0 panic=-1 reboot=t" \
  </dev/null | tee "$scratch/out"
grep -q "^EXIT 0" "$scratch/out"
