#!/usr/bin/env bash
# A head of 35 million voxels, from Debian's package: unpacked into FOLDER, nothing is installed.
#   benchmarks/fetch_volume.sh FOLDER
set -euo pipefail
folder=${1:?name a folder for the volume}
mkdir -p "$folder"
cd "$folder"
apt-get download mricron-data
dpkg-deb -x mricron-data_*.deb .
rm mricron-data_*.deb
find . -name 'ch2better.nii.gz'
