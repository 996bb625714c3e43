#!/usr/bin/env bash
# Puts Distill Studio into the menu of this account and opens *.distill files with it; `--remove` takes it out again.
# Run it from a clone in which the README's set-up was done.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
name=org.distillstudio.DistillStudio
data=${XDG_DATA_HOME:-$HOME/.local/share}
entry=$data/applications/$name.desktop
mime=$data/mime/packages/$name.xml
icon=$data/icons/hicolor/scalable/apps/$name.svg

refresh() {
    command -v update-mime-database >/dev/null && update-mime-database "$data/mime" >/dev/null || true
    command -v update-desktop-database >/dev/null && update-desktop-database "$data/applications" >/dev/null || true
}

if [ "${1:-}" = --remove ]; then
    rm -f "$entry" "$mime" "$icon"
    refresh
    echo "Distill Studio is no longer in the menu."
    exit 0
fi
program=$root/.venv/bin/distill-studio
if [ ! -x "$program" ]; then
    echo "$program is missing; run the set-up of README.md first." >&2
    exit 2
fi
mkdir -p "$(dirname "$entry")" "$(dirname "$mime")" "$(dirname "$icon")"
sed "s|^Exec=distill-studio|Exec=\"$program\"|" "$here/$name.desktop" >"$entry"
cp "$here/$name.mime.xml" "$mime"
cp "$root/resources/icons/app.svg" "$icon"
refresh
echo "Distill Studio is in the menu."
