#!/bin/bash -l
# Runs the campaign alloys, again and again until it is finished: a manager and 24 workers, 4 nodes.
# Written by `matloop submit`. It may be changed; then submit it with: qsub /home/me/runs/alloys/job.sh
#PBS -N alloys
#PBS -l select=4:ncpus=7:mpiprocs=7:ngpus=6
#PBS -l place=scatter:excl
#PBS -l walltime=12:00:00
#PBS -r y
#PBS -j oe
#PBS -A MAT123

cd /home/me || exit 1
exec >>/home/me/runs/alloys/job.log 2>&1 # in one place for all runs
module load openmpi/5.0
export PATH=/home/me/.venv/bin:"$PATH" TERM=dumb
campaign=/home/me/alloys.yaml
results=/home/me/runs/alloys
began=$(date +%s)
end=$((began + 43200))
run=(matloop run "$campaign" --dir "$results" --until "$end" --warning 120s)

# One rank more on the first node, for the manager. Open MPI 5 or later survives the loss of a worker.
case $(mpiexec --version 2>&1) in
    *"Open MPI) "[1-4].*) place="--map-by node:OVERSUBSCRIBE --bind-to none --hostfile $PBS_NODEFILE" ;;
    *"Open MPI) "*) place="--with-ft ulfm --map-by node:OVERSUBSCRIBE --bind-to none --hostfile $PBS_NODEFILE" ;;
    *) place="-ppn 1 -f $PBS_NODEFILE" ;; # MPICH and its relatives
esac
mpiexec $place -n 25 "${run[@]}" &
launcher=$!

# SIGUSR1 tells the manager that the time is nearly up; so does its clock. `wait` returns at every signal.
trap 'kill -USR1 "$launcher"' USR1
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher"; done

# 0: finished. 75: more to do, and this run got further. Otherwise it would not help to start again.
matloop progress "$results" --since "$began"
code=$?
[ $code -eq 75 ] && qsub /home/me/runs/alloys/job.sh
exit $code
