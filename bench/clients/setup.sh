#!/bin/bash
# The clients that bench/matrix.py measures, built once into build/clients: Java's of several versions by Maven, librdkafka
# of Debian 12 and of our own build, franz-go, aiokafka, kafka-python. None of it is needed to build, use or test Ferry.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$PWD/build
out=$build/clients
java_versions=(2.8.2 3.9.1 4.3.1)
mkdir -p "$out"

newer() { # is $1 older than any of the others, or not there?
    local made=$1 from
    shift
    [ -e "$made" ] || return 0
    for from in "$@"; do
        [ "$from" -nt "$made" ] && return 0
    done
    return 1
}

java_client() { # version
    local dir=$out/java-$1
    newer "$dir/Client.class" bench/clients/Client.java bench/clients/pom.xml || return 0
    mkdir -p "$dir"
    mvn -q -B -Dmaven.repo.local="$build/m2" -Dkafka.version="$1" -f bench/clients/pom.xml \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DoutputDirectory="$dir"
    javac -d "$dir" -cp "$dir/*" bench/clients/Client.java
}

# What Debian 12 ships: unpacked beside the newer one, not installed.
debian_rdkafka() {
    local dir=$out/rdkafka-debian
    newer "$dir/client" bench/clients/client.c || return 0
    mkdir -p "$dir"
    (cd "$dir" && apt-get download -q librdkafka1 librdkafka-dev && for archive in *.deb; do dpkg-deb -x "$archive" tree; done)
    local lib
    lib=$(dirname "$(find "$dir/tree" -name librdkafka.so.1)")
    gcc -std=gnu17 -O2 -Wall -Wextra -o "$dir/client" -I"$dir/tree/usr/include" bench/clients/client.c -L"$lib" -lrdkafka "-Wl,-rpath,$lib"
    PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --modversion rdkafka >"$dir/version"
}

# Built by make with Ferry's own flags and libraries.
own_rdkafka() {
    local dir=$out/rdkafka-new
    mkdir -p "$dir"
    cp build/bench/clients/client "$dir/client"
    PKG_CONFIG_PATH=$build/deps/lib/pkgconfig pkg-config --modversion rdkafka >"$dir/version"
}

franz_go() {
    local dir=$out/franz-go
    newer "$dir/client" bench/clients/client.go bench/clients/go.mod || return 0
    mkdir -p "$dir"
    command -v go >/dev/null || { echo 'no Go here: franz-go is left out' && return 0; }
    (cd bench/clients && go build -o "$dir/client" client.go)
    awk '/franz-go / {print substr($NF, 2)}' bench/clients/go.mod >"$dir/version"
}

python_clients() {
    newer "$out/venv/made" bench/clients/requirements.txt || return 0
    python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install -q --disable-pip-version-check -r bench/clients/requirements.txt
    touch "$out/venv/made"
}

for version in "${java_versions[@]}"; do
    java_client "$version"
done
debian_rdkafka
own_rdkafka
franz_go
python_clients
