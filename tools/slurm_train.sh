#!/usr/bin/env bash
# Train under Slurm, a task for each GPU, or on processors:
#
#   tools/slurm_train.sh PARTITION JOB CONFIG [arguments of tools/train.py]
#   GPUS=0 NTASKS=4 NODES=2 tools/slurm_train.sh PARTITION JOB CONFIG
#   BATCH=1 TIME=4:00:00 tools/slurm_train.sh PARTITION JOB CONFIG
#
# From the environment: GPUS (8) in all, GPUS_PER_NODE (the same, at most 8); without GPUs NTASKS (1) and NODES (1);
# CPUS_PER_TASK (5), TIME (the partition's limit) and SLURM_ARGS, more options of sbatch or srun.
#
# BATCH=1 submits a job in place of waiting for it. This means --resume, from the beginning. The job is queued again
# when a node is lost; SIGNAL (300) seconds before its time limit, with a checkpoint; and MAX_RESTARTS (0) times when it
# fails. Its output is appended to JOB-<number>.log.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
if ! command -v srun > /dev/null; then
    echo "$0: there is no srun here: Slurm is not installed, or not in PATH. Without it, tools/dist_train.sh" >&2
    exit 127
fi
partition=$1 job=$2 config=$3
shift 3
gpus=${GPUS:-8}
if [ "$gpus" -gt 0 ]; then
    per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    tasks=(--ntasks="$gpus" --ntasks-per-node="$per_node")
    resources=(--gres="gpu:$per_node")
else
    tasks=(--nodes="${NODES:-1}" --ntasks="${NTASKS:-1}")
    resources=()
    export CUDA_VISIBLE_DEVICES= # Slurm need not hide GPUs that were not asked for
fi
tasks+=(--cpus-per-task="${CPUS_PER_TASK:-5}")
resources+=(--partition="$partition" --job-name="$job" --signal="USR1@${SIGNAL:-300}")
[ -z "${TIME:-}" ] || resources+=(--time="$TIME")
train=("${PYTHON:-python}" -u "$(cd "$(dirname "$0")" && pwd)/train.py" "$config" --launcher slurm)
if [ -z "${BATCH:-}" ]; then
    # shellcheck disable=SC2086 # SLURM_ARGS are several words
    exec srun "${resources[@]}" "${tasks[@]}" --kill-on-bad-exit=1 ${SLURM_ARGS:-} ${SRUN_ARGS:-} "${train[@]}" "$@"
fi
# A run that was signalled ends with 75; one that had not begun yet, with the signal.
# shellcheck disable=SC2086
exec sbatch "${resources[@]}" "${tasks[@]}" --requeue --open-mode=append --output="$job-%j.log" ${SLURM_ARGS:-} << END
#!/usr/bin/env bash
$(printf '%q ' srun "${tasks[@]}" --kill-on-bad-exit=1 "${train[@]}" --resume "$@")
status=\$?
case \$status in
    0) exit ;;
    75 | 138) again=1 ;;
    *) again=\$((\${SLURM_RESTART_COUNT:-0} < ${MAX_RESTARTS:-0})) ;;
esac
[ \$again = 0 ] || scontrol requeue "\$SLURM_JOB_ID"
exit \$status
END
