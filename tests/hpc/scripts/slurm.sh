#!/bin/bash
# Runs the campaign alloys, again and again until it is finished: a manager and 24 workers, 4 nodes.
# Written by `matloop submit`. It may be changed; then submit it with: sbatch /home/me/runs/alloys/job.sh
#SBATCH --job-name=alloys
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=7
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --gpus-per-node=6
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/home/me/runs/alloys/job.log
#SBATCH --account=MAT123

cd /home/me || exit 1
export PATH=/home/me/.venv/bin:"$PATH" TERM=dumb
campaign=/home/me/alloys.yaml
results=/home/me/runs/alloys
began=$(date +%s)
end=${SLURM_JOB_END_TIME:-$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %e)}
run=(matloop run "$campaign" --dir "$results" --until "$end" --warning 120s)

# One rank more on the first node, for the manager.
unset SLURM_NTASKS_PER_NODE # which srun would want to be the same everywhere
srun --mpi=list 2>&1 | grep -qw pmix && export SLURM_MPI_TYPE="${SLURM_MPI_TYPE:-pmix}"
srun --ntasks=25 --distribution=cyclic --cpu-bind=none "${run[@]}" &
launcher=$!

# SIGUSR1 tells the manager that the time is nearly up; so does its clock. `wait` returns at every signal.
trap 'kill -USR1 "$launcher"' USR1
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher"; done

# 0: finished. 75: more to do, and this run got further. Otherwise it would not help to start again.
matloop progress "$results" --since "$began"
code=$?
[ $code -eq 75 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code
