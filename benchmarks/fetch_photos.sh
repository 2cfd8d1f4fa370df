#!/usr/bin/env bash
# Large real photographs, from Debian's packages: unpacked into FOLDER, nothing is installed.
#   benchmarks/fetch_photos.sh FOLDER
set -euo pipefail
folder=${1:?name a folder for the photographs}
mkdir -p "$folder"
cd "$folder"
apt-get download mate-backgrounds
dpkg-deb -x mate-backgrounds_*.deb .
rm mate-backgrounds_*.deb
find . -name '*.jpg' -size +500k
