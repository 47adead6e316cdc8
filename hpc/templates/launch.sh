{% macro mpiexec(hostfile) %}
# One rank more on the first node, for the manager. Open MPI 5 or later survives the loss of a worker.
case $(mpiexec --version 2>&1) in
    *"Open MPI) "[1-4].*) place="--map-by node:OVERSUBSCRIBE --bind-to none{{ " --hostfile " ~ hostfile if hostfile }}" ;;
    *"Open MPI) "*) place="--with-ft ulfm --map-by node:OVERSUBSCRIBE --bind-to none{{ " --hostfile " ~ hostfile if hostfile }}" ;;
    *) place="-ppn 1{{ " -f " ~ hostfile if hostfile }}" ;; # MPICH and its relatives
esac
mpiexec $place -n {{ job.ranks }} "${run[@]}" &
{%- endmacro %}

{% macro srun(hostfile) %}
# One rank more on the first node, for the manager.
unset SLURM_NTASKS_PER_NODE # which srun would want to be the same everywhere
srun --mpi=list 2>&1 | grep -qw pmix && export SLURM_MPI_TYPE="${SLURM_MPI_TYPE:-pmix}"
srun --ntasks={{ job.ranks }} --distribution=cyclic
{%- if job.cpus_per_task %} --cpus-per-task={{ job.cpus_per_task }}{% else %} --cpu-bind=none{% endif %} "${run[@]}" &
{%- endmacro %}

{% macro jsrun(hostfile) %}
{% if job.nodes > 1 %}
# jsrun starts as many ranks on every node, so on the first one the manager takes the place of a worker.
{% endif %}
jsrun -n {{ job.nodes }} -r 1 -a {{ job.ranks_per_node }} -c ALL_CPUS
{%- if job.gpus_per_node %} -g ALL_GPUS{% endif %} -b none "${run[@]}" &
{%- endmacro %}
