#!/bin/sh
# This machine's load as a JSON line a second: what a dashboard wants of a router.
# Reads /proc only; any POSIX shell, busybox's too.

rx_then= tx_then=
while :; do
	read -r one five fifteen procs _ < /proc/loadavg
	total=0 free=0
	while read -r name kb _; do
		case $name in
		MemTotal:) total=$kb ;;
		MemAvailable:) free=$kb ;;
		esac
	done < /proc/meminfo
	rx=0 tx=0
	while read -r name a _ _ _ _ _ _ _ b _; do
		case $name in
		*:) [ "$name" = lo: ] || { rx=$((rx + a)); tx=$((tx + b)); } ;;
		esac
	done < /proc/net/dev
	printf '{"load":{"1min":%s,"5min":%s,"15min":%s},"tasks":%s,"memory":{"used_kb":%d,"free_kb":%d},"net":{"rx_bytes_s":%d,"tx_bytes_s":%d}}\n' \
		"$one" "$five" "$fifteen" "${procs#*/}" $((total - free)) "$free" \
		$((rx - ${rx_then:-$rx})) $((tx - ${tx_then:-$tx}))
	rx_then=$rx tx_then=$tx
	sleep 1
done
