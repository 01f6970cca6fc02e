#!/bin/sh
# The test command behind `make test`: style, types, fast tests side by side, those beside real servers two files at a
# time, then one by one those that start the whole stack.
# As root it first installs the Debian packages that some tests run for real; otherwise those tests are skipped
# and named at the end, with the command that would bring them.
set -eu
PYTHON=${PYTHON:-python3}
BIN=$(dirname "$PYTHON")
PACKAGES="redis-server prometheus victoria-metrics chromium"

missing=""
for package in $PACKAGES; do
  command -v "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing for the tests:$missing"
  # The packages' own services are not wanted: the tests start their servers themselves.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  # shellcheck disable=SC2086
  if apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
    missing=""
  else
    echo "apt-get could not install:$missing"
  fi
fi

"$BIN/ruff" check .
"$BIN/ruff" format --check .
"$BIN/mypy"

status=0
"$PYTHON" -m pytest -q -n 2 -m "not heavy" "$@" || status=$?
# 5: nothing selected, as when one test is named that is not in this half.
[ "$status" = 5 ] && status=0
# Those that compute, or talk to one server of their own, disturb nobody: two files at a time.
paired=0
"$PYTHON" -m pytest -q -n 2 --dist loadfile -m "heavy and paired" "$@" || paired=$?
[ "$paired" = 5 ] && paired=0
heavy=0
"$PYTHON" -m pytest -q -m "heavy and not paired" "$@" || heavy=$?
[ "$heavy" = 5 ] && heavy=0

if [ -n "$missing" ]; then
  echo
  echo "Some tests were skipped because this machine lacks:$missing"
  echo "To run them too: sudo apt-get install$missing"
fi
if [ -z "${APPSENTRY_TEST_DATA:-}" ]; then
  echo "Tests on recorded telemetry were skipped: APPSENTRY_TEST_DATA does not name its folder."
fi
[ "$status" = 0 ] && [ "$paired" = 0 ] && [ "$heavy" = 0 ]
