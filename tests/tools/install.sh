#!/bin/sh
# Installs the Debian packages named on the command line, as far as they are missing: as root, or
# through sudo where that asks no password or somebody is there to answer; otherwise it prints
# the exact command and fails.
missing=
for package; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
command="apt-get install -y --no-install-recommends$missing"
echo "installing:$missing"
if [ "$(id -u)" = 0 ]; then
  run=
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
  run=sudo
else
  echo "not root, and no sudo; please run:  $command" >&2
  exit 1
fi
log=$(mktemp)
# Package lists may be missing or old on a fresh machine.
if ! DEBIAN_FRONTEND=noninteractive $run $command >"$log" 2>&1; then
  $run apt-get update >"$log" 2>&1
  if ! DEBIAN_FRONTEND=noninteractive $run $command >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "could not install; please run:  $command" >&2
    rm -f "$log"
    exit 1
  fi
fi
rm -f "$log"
