#!/usr/bin/env bash
# Ends what up.sh started, and the jobs on it: tests/slurm/down.sh FOLDER.
folder=$1
export SLURM_CONF=$folder/slurm.conf
if [ -s "$folder/controller.pid" ]; then
  timeout 10 scancel --user=root 2>/dev/null
  for _ in $(seq 60); do # jobs that their node has left run on
    [ -z "$(timeout 10 squeue -h 2>/dev/null)" ] && break
    sleep 0.25
  done
fi
for file in "$folder"/node.pid "$folder"/controller.pid "$folder"/munge/pid; do
  [ -s "$file" ] || continue
  process=$(cat "$file")
  kill "$process" 2>/dev/null
  for _ in $(seq 40); do
    kill -0 "$process" 2>/dev/null || break
    sleep 0.25
  done
done
exit 0
