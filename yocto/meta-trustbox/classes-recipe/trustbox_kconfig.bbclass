# Fragments for Kconfig, of the kernel and of U-Boot: it drops without a word what depends on something that is off.

# trustbox_check_fragments CONFIGURATION FRAGMENT…
trustbox_check_fragments() {
    config=$1
    shift
    cat "$@" | while read -r line; do
        case "$line" in
        "# CONFIG_"*" is not set") name=${line#\# }; name=${name%% *}
            ! grep -q "^$name=" "$config" || bbfatal "$config has $name, the fragment says: $line" ;;
        CONFIG_*) grep -qxF "$line" "$config" || bbfatal "Kconfig does not take: $line" ;;
        esac
    done
}
