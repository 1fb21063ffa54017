#!/usr/bin/env bash
# Run an experiment under Slurm, in a job array: the studies are shared by its jobs, and a last job makes the tables.
#
#   tools/slurm_experiment.sh PARTITION JOB SHARES [arguments of tools/experiment.py]
#
# A study is a method with a net on a task. From the environment: GPUS_PER_JOB (1; 0 for none), CPUS_PER_TASK (5), TIME
# (the partition's limit) and SBATCH_ARGS. A job that loses its node or reaches its time limit is queued again and
# continues.
set -euo pipefail
if [ $# -lt 4 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
if ! command -v sbatch > /dev/null; then
    echo "$0: there is no sbatch here: Slurm is not installed, or not in PATH. Without it, tools/experiment.py" >&2
    exit 127
fi
partition=$1 job=$2 shares=$3
shift 3
gpus=${GPUS_PER_JOB:-1}
options=(--parsable --partition="$partition" --cpus-per-task="${CPUS_PER_TASK:-5}" --requeue --open-mode=append)
if [ "$gpus" -gt 0 ]; then
    options+=(--gres="gpu:$gpus")
else
    export CUDA_VISIBLE_DEVICES=
fi
[ -z "${TIME:-}" ] || options+=(--time="$TIME")
experiment=("${PYTHON:-python}" -u "$(cd "$(dirname "$0")" && pwd)/experiment.py" "$@")
# shellcheck disable=SC2086 # SBATCH_ARGS are several words
id=$(sbatch "${options[@]}" --job-name="$job" --array="0-$((shares - 1))" --output="$job-%A_%a.log" \
    --signal=B:USR1@120 ${SBATCH_ARGS:-} << END
#!/usr/bin/env bash
trap 'scontrol requeue "\${SLURM_ARRAY_JOB_ID}_\$SLURM_ARRAY_TASK_ID"' USR1
$(printf '%q ' "${experiment[@]}") --share "\$SLURM_ARRAY_TASK_ID/$shares" &
wait \$!
END
)
# shellcheck disable=SC2086
last=$(sbatch "${options[@]}" --job-name="$job-tables" --output="$job-tables-%j.log" --dependency="afterany:$id" \
    ${SBATCH_ARGS:-} --wrap "$(printf '%q ' "${experiment[@]}")")
echo "$id $last"
