{% extends "job.sh" %}
{% block directives %}
#BSUB -J {{ job.label }}
{% if job.launcher == "jsrun" %}
#BSUB -nnodes {{ job.nodes }}
{% else %}
#BSUB -n {{ job.nodes * job.ranks_per_node }}
#BSUB -R "span[ptile={{ job.ranks_per_node }}]"
{% if job.cpus_per_task %}
#BSUB -R "affinity[core({{ job.cpus_per_task }})]"
{% else %}
#BSUB -x
{% endif %}
{% if job.gpus_per_node %}
#BSUB -gpu "num={{ job.gpus_per_node }}/host"
{% endif %}
{% endif %}
#BSUB -W {{ minutes(job.time_s) }}
#BSUB -wt {{ minutes(job.warning_s) }}
#BSUB -wa USR1
#BSUB -r
#BSUB -Q 75
#BSUB -o {{ job.log|quote }}
{% if job.queue %}
#BSUB -q {{ job.queue }}
{% endif %}
{% if job.account %}
#BSUB -P {{ job.account }}
{% endif %}
{% endblock %}
{% block start %}
{{ launch[job.launcher]("$LSB_DJOB_HOSTFILE") }}
{% endblock %}
{% block again %}
# LSF puts a job that ends with 75 back into the queue (-Q).
{% endblock %}
