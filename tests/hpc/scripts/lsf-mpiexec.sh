#!/bin/bash
# Runs the campaign alloys, again and again until it is finished: a manager and 6 workers, 1 node.
# Written by `matloop submit`. It may be changed; then submit it with: bsub < /home/me/runs/alloys/job.sh
#BSUB -J alloys
#BSUB -n 7
#BSUB -R "span[ptile=7]"
#BSUB -x
#BSUB -gpu "num=6/host"
#BSUB -W 720
#BSUB -wt 2
#BSUB -wa USR1
#BSUB -r
#BSUB -Q 75
#BSUB -o /home/me/runs/alloys/job.log
#BSUB -P MAT123
#BSUB -M 64GB

cd /home/me || exit 1
export PATH=/home/me/.venv/bin:"$PATH" TERM=dumb
campaign=/home/me/alloys.yaml
results=/home/me/runs/alloys
began=$(date +%s)
end=$((began + 43200))
run=(matloop run "$campaign" --dir "$results" --until "$end" --warning 120s)

# One rank more on the first node, for the manager. Open MPI 5 or later survives the loss of a worker.
case $(mpiexec --version 2>&1) in
    *"Open MPI) "[1-4].*) place="--map-by node:OVERSUBSCRIBE --bind-to none --hostfile $LSB_DJOB_HOSTFILE" ;;
    *"Open MPI) "*) place="--with-ft ulfm --map-by node:OVERSUBSCRIBE --bind-to none --hostfile $LSB_DJOB_HOSTFILE" ;;
    *) place="-ppn 1 -f $LSB_DJOB_HOSTFILE" ;; # MPICH and its relatives
esac
mpiexec $place -n 7 "${run[@]}" &
launcher=$!

# SIGUSR1 tells the manager that the time is nearly up; so does its clock. `wait` returns at every signal.
trap 'kill -USR1 "$launcher"' USR1
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher"; done

# 0: finished. 75: more to do, and this run got further. Otherwise it would not help to start again.
matloop progress "$results" --since "$began"
code=$?
# LSF puts a job that ends with 75 back into the queue (-Q).
exit $code
