#!/bin/sh
# Everything a change must pass: `sh tests/run.sh`, from anywhere. CI runs this and nothing else.
#
# Installs what it can (rustup's targets and components; QEMU and a C compiler by apt-get where it may). A tool that stays missing fails
# the run where CI=true; elsewhere its steps are skipped and named at the end. Stops at the first step that fails.
set -u
cd "$(dirname "$0")/.." || exit 1

TARGETS="thumbv7em-none-eabihf thumbv6m-none-eabi riscv32imac-unknown-none-elf"
FIRMWARE="-p symbolon-firmware --profile firmware" # alone, or the other packages' features reach it
QEMU_LIMIT_S=60
FOREIGN="aarch64-unknown-linux-gnu" # the host must compile there
LONG_COMMENTS=654

ci=false
[ "${CI:-}" = true ] && ci=true
"$ci" && export CARGO_INCREMENTAL=0 # nothing is built twice

started=$(date +%s)
skipped=""

seconds_since() { echo $(($(date +%s) - $1)); }

# step NAME COMMAND...
step() {
    name=$1
    shift
    printf '\n==> %s\n' "$name"
    from=$(date +%s)
    if "$@"; then
        printf '<== %s: %s s\n' "$name" "$(seconds_since "$from")"
    else
        printf '\nFAILED: %s (status %s)\n    %s\n' "$name" "$?" "$*" >&2
        exit 1
    fi
}

# skip NAME WHY
skip() {
    if "$ci"; then
        printf '\nFAILED: %s: %s\n' "$1" "$2" >&2
        exit 1
    fi
    printf '\n==> %s: skipped, %s\n' "$1" "$2"
    skipped="$skipped
    $1: $2"
}

has() { command -v "$1" >/dev/null 2>&1; }

# --- tools ---------------------------------------------------------------------------------------------------------

has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]; }

install_rust_parts() {
    has rustup || return 0
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
    for target in $TARGETS $FOREIGN; do
        has_target "$target" || rustup target add "$target"
    done
    return 0 # what is missing now is skipped, or fails, where it is needed
}

can_install() { [ "$(id -u)" = 0 ] && has apt-get; }

install="apt-get install -y -qq --no-install-recommends"
export DEBIAN_FRONTEND=noninteractive

# A broker for the gateway's tests, Python for the vectors, onnxruntime for exported models; tests skip what is missing, but not where
# CI=true.
install_others() {
    can_install || return 0
    has mosquitto || PATH="$PATH:/usr/sbin" has mosquitto || {
        $install mosquitto >/dev/null || { apt-get update -qq && $install mosquitto >/dev/null; }
    }
    has python3 || $install python3 >/dev/null
    return 0
}

# onnxruntime in an environment of its own under target/.
install_onnx() {
    venv=target/onnx-venv
    "$venv/bin/python" -c 'import numpy, onnxruntime' 2>/dev/null && return 0
    has python3 || return 0
    python3 -m venv "$venv" 2>/dev/null || {
        can_install && $install python3-venv >/dev/null && python3 -m venv "$venv" >/dev/null || return 0
    }
    "$venv/bin/python" -m pip install -q --disable-pip-version-check numpy onnxruntime || return 0
}

# Newer releases of Debian have the RISC-V emulator in a package of its own.
install_qemu() {
    can_install || return 0
    has qemu-system-arm && has qemu-system-riscv32 && return 0
    $install qemu-system-arm qemu-system-misc >/dev/null || {
        apt-get update -qq
        $install qemu-system-arm qemu-system-misc >/dev/null
    }
    has qemu-system-riscv32 || $install qemu-system-riscv >/dev/null
    return 0
}

# The C compiler for ring, which builds some C for the other processor.
install_foreign() {
    can_install || return 0
    has aarch64-linux-gnu-gcc && return 0
    packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    $install $packages >/dev/null || { apt-get update -qq && $install $packages >/dev/null; }
    return 0
}

# --- steps ---------------------------------------------------------------------------------------------------------

# The emulator of a target, as in .cargo/config.toml.
emulator() {
    case $1 in
    thumb*) echo qemu-system-arm ;;
    riscv32*) echo qemu-system-riscv32 ;;
    esac
}

# Runs a firmware program; its exit status is the emulator's.
emulate() {
    limit=""
    has timeout && limit="timeout $QEMU_LIMIT_S"
    $limit cargo run -q $FIRMWARE --target "$1" --bin "$2" </dev/null
}

bare_metal() {
    target=$1
    if ! has_target "$target"; then
        skip "bare metal, $target" "the target is not installed (rustup target add $target)"
        return
    fi
    step "core for $target" cargo build -p symbolon-core --profile firmware --target "$target"
    step "clippy, firmware for $target" cargo clippy $FIRMWARE --target "$target" --lib --bins -- -D warnings
    step "clippy, sensor node that asks, $target" cargo clippy $FIRMWARE --features predict --target "$target" --lib --bin sensor_node -- -D warnings
    step "link firmware for $target" cargo build $FIRMWARE --target "$target" --bins
    if has "$(emulator "$target")"; then
        step "smoke on the emulated board, $target" emulate "$target" smoke
    else
        skip "smoke on the emulated board, $target" "no $(emulator "$target")"
    fi
}

# real_board TARGET FEATURE PROGRAM...: builds; there is none to run it on.
real_board() {
    target=$1 board=$2
    shift 2
    has_target "$target" || return 0 # said above
    bins=""
    for program in "$@"; do
        bins="$bins --bin $program"
    done
    step "clippy, firmware for $board" cargo clippy $FIRMWARE --features "$board" --target "$target" --lib $bins -- -D warnings
    step "link firmware for $board" cargo build $FIRMWARE --features "$board" --target "$target" $bins
}

# Host and core for a processor without the hand-written kernels; nothing is linked.
foreign() {
    if ! has_target "$FOREIGN"; then
        skip "host for $FOREIGN" "the target is not installed (rustup target add $FOREIGN)"
    elif ! has aarch64-linux-gnu-gcc; then
        skip "host for $FOREIGN" "no aarch64-linux-gnu-gcc"
    else
        step "host for $FOREIGN" cargo check -p symbolon-core -p symbolon --all-targets --target "$FOREIGN"
    fi
}

# rustfmt does not wrap comments.
comment_width() {
    long=$(grep -rhE --include=*.rs --exclude-dir=target '^ *//' . | LC_ALL=C.UTF-8 grep -cE '.{101}')
    if [ "$long" -gt "$LONG_COMMENTS" ]; then
        echo "$long comment lines exceed 100 columns, $LONG_COMMENTS did before: wrap those that this change adds" >&2
        return 1
    fi
    [ "$long" -eq "$LONG_COMMENTS" ] || echo "$long are left: lower LONG_COMMENTS in tests/run.sh to that"
}

# Two programs of tests mostly wait, for processes and their time-outs: they run beside the others.
tests() {
    cargo test --workspace --no-run || return
    others=""
    for path in */tests/*.rs host/parties/tests/*.rs */tests/*/main.rs; do
        name=${path%/main.rs}
        name=$(basename "$name" .rs)
        case $name in
        processes | edge) ;;
        *) others="$others --test $name" ;;
        esac
    done
    log=$(mktemp)
    cargo test --workspace --test processes --test edge >"$log" 2>&1 &
    beside=$!
    # One at a time: the other core is for the programs beside.
    RUST_TEST_THREADS=1 cargo test --workspace --lib --bins $others && cargo test --workspace --doc
    status=$?
    wait "$beside" || status=$?
    cat "$log"
    rm -f "$log"
    return "$status"
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps; }

# A fresh clone must build from the lock file as it is.
locked() { cargo metadata --locked --format-version 1 >/dev/null; }

step "tools: Rust" install_rust_parts
step "tools: QEMU" install_qemu
step "tools: broker, Python" install_others
step "tools: onnxruntime" install_onnx
step "tools: C for $FOREIGN" install_foreign
step "lock file" locked
step "width of comments" comment_width
if cargo fmt --version >/dev/null 2>&1; then
    step "format" cargo fmt --all --check
else
    skip "format" "no rustfmt"
fi
if cargo clippy --version >/dev/null 2>&1; then
    # Compiles benches too; to link them, optimised, would take minutes.
    step "clippy" cargo clippy --workspace --all-targets -- -D warnings
    step "clippy, core with defmt" cargo clippy -p symbolon-core --features defmt -- -D warnings
else
    skip "clippy" "no clippy"
fi
step "tests" tests
for target in $TARGETS; do
    bare_metal "$target"
done
foreign
real_board thumbv7em-none-eabihf nrf52840 sensor_node compute_node function_node sequence_node
step "documentation" docs

printf '\nPassed in %s s.\n' "$(seconds_since "$started")"
[ -z "$skipped" ] || printf 'Skipped:%s\n' "$skipped"
