#!/usr/bin/busybox sh
# First process of the emulated device: loads modules, starts tee-supplicant, then runs commands that the host sends.
#
# The kernel command line says what this boot has: trustbox.shell, trustbox.copy, trustbox.state, trustbox.station. Commands come in on a
# port of their own, one line each: `run WORD ARGUMENTS…` or `off`. WORD ends both output streams, so that the host knows
# where they end; the exit status goes back on the command port.

export PATH=/usr/sbin:/usr/bin HOME=/root TERM=linux
/usr/bin/busybox --install -s /usr/bin

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
exec </dev/console >/dev/console 2>&1

# A signed command line (trustbox.verified) is the same in every boot: what the machine has says the rest.
has() {
    grep -qw "trustbox.$1" /proc/cmdline && return
    grep -qw trustbox.verified /proc/cmdline || return
    case $1 in
    copy) grep -qs host /sys/bus/virtio/devices/*/mount_tag ;;
    state) load state && [ "$(state_disk)" ] ;;
    shell) [ -e /dev/hvc0 ] ;;
    *) return 1 ;;
    esac
}

# The disk that says that it is for secure storage
state_disk() {
    for disk in /sys/block/vd*; do
        [ "$(cat "$disk/serial" 2>/dev/null)" = state ] && echo "/dev/${disk##*/}"
    done
}

load() {
    while read -r module; do
        [ -d "/sys/module/$module" ] || insmod "/usr/lib/modules/$module.ko"
    done <"/usr/lib/modules/$1.list"
}

folder() { mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 "$1" "$2"; }

power_off() {
    sync
    killall tee-supplicant 2>/dev/null
    cd /
    umount /var/lib/tee 2>/dev/null
    poweroff -f
}

failure=
load always
load share
folder share /mnt/share
if has copy; then
    folder host /mnt/.host
    mkdir /tmp/.changed /tmp/.work
    mount -t overlay -o lowerdir=/mnt/.host,upperdir=/tmp/.changed,workdir=/tmp/.work overlay /mnt/host
fi
if has state; then
    load state
    mount -t ext4 "$(state_disk)" /var/lib/tee || failure="cannot mount the state file: is it one that --state made?"
fi
ifconfig lo 127.0.0.1 up
tee-supplicant -d --fs-parent-path /var/lib/tee /dev/teepriv0 || failure="no TEE: tee-supplicant does not start"

if has station; then
    setsid station-agent /dev/ttyAMA0 </dev/null >/dev/null 2>&1 &
fi
if has shell; then
    cd /root
    setsid -c sh -l </dev/hvc0 >/dev/hvc0 2>&1
    power_off
fi

for port in /sys/class/virtio-ports/*; do
    read -r name <"$port/name"
    case $name in
    trustbox.control) control=/dev/${port##*/} ;;
    trustbox.stdout) stdout=/dev/${port##*/} ;;
    trustbox.stderr) stderr=/dev/${port##*/} ;;
    esac
done
exec 3<>"$control" 4>"$stdout" 5>"$stderr"
echo "${failure:-ready}" >&3
cd /root
while IFS= read -r line <&3; do
    case $line in
    off)
        echo off >&3
        power_off
        ;;
    "run "*)
        line=${line#run }
        word=${line%% *}
        (eval "exec ${line#* }") </dev/null >&4 2>&5 3>&- 4>&- 5>&-
        status=$?
        printf %s "$word" >&4
        printf %s "$word" >&5
        echo "exit $status" >&3
        ;;
    esac
done
power_off
