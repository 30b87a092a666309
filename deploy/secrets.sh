#!/bin/sh
# Makes deploy/secrets/store, the password of the Docker stack's store, unless it is there already.
# The folder is its owner's alone; the file inside may be read, because containers read it as another user.
set -eu
folder=$(dirname "$0")/secrets
mkdir -p "$folder"
chmod 700 "$folder"
if [ ! -s "$folder/store" ]; then
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' > "$folder/store"
    chmod 644 "$folder/store"
    echo "made $folder/store"
fi
