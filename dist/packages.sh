#!/bin/sh
# packages.sh WHO PACKAGE...: install those of these Debian packages that are missing, and say so.
set -eu
who=$1 missing='' as=''
shift
for p; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
echo "$who: installing Debian packages:$missing"
[ "$(id -u)" = 0 ] || as=sudo
$as apt-get update -qq
# shellcheck disable=SC2086
$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	-o DPkg::Lock::Timeout=120 $missing >/dev/null
