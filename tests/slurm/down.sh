#!/usr/bin/env bash
# Ends what up.sh started: tests/slurm/down.sh FOLDER.
folder=$1
export SLURM_CONF=$folder/slurm.conf
scancel --state=RUNNING,PENDING --user=root 2>/dev/null
for file in "$folder"/controller.pid "$folder"/node.pid "$folder"/munge/pid; do
  [ -s "$file" ] && kill "$(cat "$file")" 2>/dev/null
done
exit 0
