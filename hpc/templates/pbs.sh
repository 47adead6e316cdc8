{% extends "job.sh" %}
{% block directives %}
#PBS -N {{ job.label }}
#PBS -l select={{ job.nodes }}:ncpus={{ job.ranks_per_node * (job.cpus_per_task or 1) }}:mpiprocs={{ job.ranks_per_node }}
{%- if job.gpus_per_node %}:ngpus={{ job.gpus_per_node }}{% endif %}

#PBS -l place=scatter{{ "" if job.cpus_per_task else ":excl" }}
#PBS -l walltime={{ clock(job.time_s) }}
#PBS -r y
#PBS -j oe
{% if job.queue %}
#PBS -q {{ job.queue }}
{% endif %}
{% if job.account %}
#PBS -A {{ job.account }}
{% endif %}
{% endblock %}
{% block log %}
exec >>{{ job.log|quote }} 2>&1 # in one place for all runs
{% endblock %}
{% block start %}
{{ launch[job.launcher]("$PBS_NODEFILE") }}
{% endblock %}
{% block again %}
[ $code -eq 75 ] && qsub {{ job.script|quote }}
{% endblock %}
