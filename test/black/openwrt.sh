# As much of OpenWrt's /etc/rc.common, /lib/functions.sh and procd as an init script sees, written
# from their documentation: prints what procd is told. Usage: sh openwrt.sh SCRIPT ACTION
config_cb() { :; }
option_cb() { :; }
list_cb() { :; }
config() { config_cb "$@"; }
option() { option_cb "$@"; }
list() { list_cb "$@"; }
config_load() {
	. "$UCI/$1"
	config_cb
}
procd_open_instance() { echo "open $1"; }
procd_close_instance() { echo close; }
procd_set_param() { echo "set $*"; }
procd_append_param() {
	kind=$1
	shift
	for word; do
		echo "append $kind $word"
	done
}
procd_send_signal() { echo "signal $*"; }
procd_add_reload_trigger() { echo "trigger $*"; }
mkdir() { :; }
chown() { :; }
start() { start_service; }
. "$1"
"$2"
