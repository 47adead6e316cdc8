{% import "launch.sh" as launch with context %}
#!/bin/bash{{ " -l" if job.modules }}
# Runs the campaign {{ job.name }}, again and again until it is finished: a manager and {{ job.workers }} workers, {{ job.nodes }} node{{ "s" if job.nodes > 1 }}.
# Written by `matloop submit`. It may be changed; then submit it with: {{ by_hand }}
{% block directives %}{% endblock %}
{% for line in job.extra %}
{{ line }}
{% endfor %}

cd {{ job.working|quote }} || exit 1
{% block log %}{% endblock %}
{% for module in job.modules %}
module load {{ module|quote }}
{% endfor %}
export PATH={{ job.bin|quote }}:"$PATH" TERM=dumb
campaign={{ job.campaign|quote }}
results={{ job.results|quote }}
began=$(date +%s)
{% block end %}
end=$((began + {{ job.time_s }}))
{% endblock %}
run=(matloop run "$campaign" --dir "$results" --until "$end" --warning {{ job.warning_s }}s)

{% block start %}{% endblock %}
launcher=$!

# SIGUSR1 tells the manager that the time is nearly up; so does its clock. `wait` returns at every signal.
trap 'kill -USR1 "$launcher"' USR1
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher"; done

# 0: finished. 75: more to do, and this run got further. Otherwise it would not help to start again.
matloop progress "$results" --since "$began"
code=$?
{% block again %}{% endblock %}
exit $code
