# Turns two fresh Debian trees into a machine. Runs on the host, in the directory that holds them:
#   tools/   the virtual machine's own programs: QEMU, virtiofsd, mke2fs
#   guest/   the machine's root file system
# and leaves tools/vm/{kernel,initramfs,root.img}. RECIPE holds the other files of this directory.
set -eu

# --- What boots into the root file system: the cloud kernel has ext4 built in, but not the disk driver.
mkdir -p initramfs/bin initramfs/dev initramfs/root tools/vm
xz -dc guest/usr/lib/modules/*/kernel/drivers/block/virtio_blk.ko.xz > initramfs/virtio_blk.ko
cp guest/usr/bin/busybox initramfs/bin/busybox
install -m 755 "$RECIPE/initramfs-init" initramfs/init
(cd initramfs && find . | ../guest/usr/bin/busybox cpio -o -H newc) > tools/vm/initramfs
cp guest/boot/vmlinuz-* tools/vm/kernel
rm -rf initramfs guest/boot/* guest/initrd.img* guest/vmlinuz* guest/var/cache/apt/archives/*.deb guest/var/lib/apt/lists/*

# --- What makes a first boot different from the next, or takes long under software emulation.
echo c0ffee00c0ffee00c0ffee00c0ffee00 > guest/etc/machine-id
echo corten-vm > guest/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 corten-vm\n' > guest/etc/hosts
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty@tty1.service serial-getty@ttyS0.service systemd-pstore.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service systemd-hwdb-update.service ldconfig.service systemd-firstboot.service \
    docker.service docker.socket containerd.service podman.service podman.socket podman-auto-update.timer \
    podman-auto-update.service podman-restart.service podman-clean-transient.service; do
    ln -sf /dev/null "guest/etc/systemd/system/$unit"
done
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n' > guest/etc/systemd/journald.conf

# --- AppArmor with one profile, the tests' own: compiling the distribution's hundred takes a minute in here.
find guest/etc/apparmor.d -maxdepth 1 -type f -delete
cp "$RECIPE/apparmor-profile" guest/etc/apparmor.d/corten-test

# --- An ordinary user with a range of subordinate ids.
chroot guest useradd --create-home --shell /bin/sh --uid 1000 tester
grep -q '^tester:' guest/etc/subuid || echo 'tester:100000:65536' | tee -a guest/etc/subuid >> guest/etc/subgid

# --- What runs the command that was handed in, and then switches the machine off.
install -m 755 "$RECIPE/corten-vm" guest/usr/local/sbin/corten-vm
cp "$RECIPE/corten-vm.service" guest/etc/systemd/system/corten-vm.service
mkdir -p guest/share guest/etc/systemd/system/multi-user.target.wants
ln -sf ../corten-vm.service guest/etc/systemd/system/multi-user.target.wants/corten-vm.service

truncate -s 3G tools/vm/root.img
PATH=/usr/sbin:/sbin:$PATH mke2fs -q -t ext4 -O ^has_journal -L root -d guest tools/vm/root.img
rm -rf guest
