#!/bin/sh
# The built-in page in Chromium: page.sh SLUICE
SLUICE=$1 node test/black/page/page_test.mjs > build/check/page.log 2>&1
status=$?
cat build/check/page.log
p=$(sed -n 's/^[#ℹ]* *pass \([0-9]*\)$/\1/p' build/check/page.log)
f=$(sed -n 's/^[#ℹ]* *fail \([0-9]*\)$/\1/p' build/check/page.log)
[ $status = 0 ] || [ "${f:-0}" != 0 ] || f=1
echo "page: ${p:-0} passed, ${f:-1} failed"
exit $status
