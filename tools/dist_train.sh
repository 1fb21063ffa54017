#!/usr/bin/env bash
# Train in several processes, one for each GPU, or on a CPU:
#
#   tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
#
# On several machines, the same on each, PROCESSES being those of one:
#
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh CONFIG 8
#
# MAX_RESTARTS=3 starts all of them again, so many times, when one has died; the run goes on from its last checkpoint.
# So that it does, this means --resume, from the beginning.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
config=$1 processes=$2 restarts=${MAX_RESTARTS:-0}
shift 2
if [ "${NNODES:-1}" = 1 ] && [ -z "${MASTER_PORT:-}" ]; then
    meeting=(--standalone) # at a port that is free
elif [ "$restarts" -gt 0 ]; then # machines that can meet again
    meeting=(
        --nnodes "${NNODES:-1}" --rdzv-id vptx --rdzv-backend c10d
        --rdzv-endpoint "${MASTER_ADDR:-127.0.0.1}:${MASTER_PORT:-29500}"
    )
else
    meeting=(
        --nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}"
        --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29500}"
    )
fi
if [ "$restarts" -gt 0 ]; then
    set -- --resume "$@"
    # The shared one sends processes to the addresses of those that died: https://github.com/pytorch/pytorch/issues/135712
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
fi
# Not -m, which would let files of the folder where this is run take the place of libraries.
launch='import sys; sys.path = list(filter(None, sys.path)); from torch.distributed.run import main; main()'
exec "${PYTHON:-python}" -c "$launch" "${meeting[@]}" --max-restarts "$restarts" \
    --nproc-per-node "$processes" "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
