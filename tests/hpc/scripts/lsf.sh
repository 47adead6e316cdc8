#!/bin/bash
# Runs the campaign alloys, again and again until it is finished: a manager and 23 workers, 4 nodes.
# Written by `matloop submit`. It may be changed; then submit it with: bsub < /home/me/runs/alloys/job.sh
#BSUB -J alloys
#BSUB -nnodes 4
#BSUB -W 720
#BSUB -wt 2
#BSUB -wa USR1
#BSUB -r
#BSUB -Q 75
#BSUB -o /home/me/runs/alloys/job.log
#BSUB -q batch
#BSUB -P MAT123

cd /home/me || exit 1
export PATH=/home/me/.venv/bin:"$PATH" TERM=dumb
campaign=/home/me/alloys.yaml
results=/home/me/runs/alloys
began=$(date +%s)
end=$((began + 43200))
run=(matloop run "$campaign" --dir "$results" --until "$end" --warning 120s)

# jsrun starts as many ranks on every node, so on the first one the manager takes the place of a worker.
jsrun -n 4 -r 1 -a 6 -c ALL_CPUS -g ALL_GPUS -b none "${run[@]}" &
launcher=$!

# SIGUSR1 tells the manager that the time is nearly up; so does its clock. `wait` returns at every signal.
trap 'kill -USR1 "$launcher"' USR1
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher"; done

# 0: finished. 75: more to do, and this run got further. Otherwise it would not help to start again.
matloop progress "$results" --since "$began"
code=$?
# LSF puts a job that ends with 75 back into the queue (-Q).
exit $code
