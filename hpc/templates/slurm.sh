{% extends "job.sh" %}
{% block directives %}
#SBATCH --job-name={{ job.label }}
#SBATCH --nodes={{ job.nodes }}
#SBATCH --ntasks-per-node={{ job.ranks_per_node }}
{% if job.cpus_per_task %}
#SBATCH --cpus-per-task={{ job.cpus_per_task }}
{% else %}
#SBATCH --exclusive
#SBATCH --mem=0
{% endif %}
{% if job.gpus_per_node %}
#SBATCH --gpus-per-node={{ job.gpus_per_node }}
{% endif %}
#SBATCH --time={{ clock(job.time_s) }}
#SBATCH --signal=B:USR1@{{ job.warning_s }}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={{ job.log|percent|quote }}
{% if job.queue %}
#SBATCH --partition={{ job.queue }}
{% endif %}
{% if job.account %}
#SBATCH --account={{ job.account }}
{% endif %}
{% endblock %}
{% block end %}
end=${SLURM_JOB_END_TIME:-$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %e)}
{% endblock %}
{% block start %}
{{ launch[job.launcher]("") }}
{% endblock %}
{% block again %}
[ $code -eq 75 ] && scontrol requeue "$SLURM_JOB_ID"
{% endblock %}
