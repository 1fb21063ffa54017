#!/usr/bin/env bash
# Train in several processes, one for each GPU, or on a CPU:
#
#   tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
#
# On several machines, the same on each, PROCESSES being those of one:
#
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh CONFIG 8
#
# LOCAL_ADDR is the address of a machine whose name the others cannot resolve.
#
# MAX_RESTARTS=3 starts all of them again, so many times, when one has died; the run goes on from its last checkpoint.
# So that it does, this means --resume, from the beginning. NNODES=2:3 goes on with two machines when one of three is
# lost, and takes it in again; it means MAX_RESTARTS=3, and needs --total-batch-size.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
config=$1 processes=$2
shift 2
nodes=${NNODES:-1}
case $nodes in *:*) restarts=${MAX_RESTARTS:-3} ;; *) restarts=${MAX_RESTARTS:-0} ;; esac
if [ "$nodes" = 1 ] && [ -z "${MASTER_PORT:-}" ]; then
    check= meeting=(--standalone) # at a port that is free
else
    check='from vptx_cli.meeting import check_meeting; check_meeting(); '
    address=${MASTER_ADDR:-127.0.0.1} port=${MASTER_PORT:-29500}
    if [ "$restarts" -gt 0 ]; then # machines that can meet again
        meeting=(--nnodes "$nodes" --rdzv-id vptx --rdzv-backend c10d --rdzv-endpoint "$address:$port")
        # Who is the first machine, which torchrun guesses from its name.
        case ${NODE_RANK:-} in
            '') ;;
            0) meeting+=(--rdzv-conf is_host=1) ;;
            *) meeting+=(--rdzv-conf is_host=0) ;;
        esac
    else
        meeting=(--nnodes "$nodes" --node-rank "${NODE_RANK:-0}" --master-addr "$address" --master-port "$port")
    fi
    [ -z "${LOCAL_ADDR:-}" ] || meeting+=(--local-addr "$LOCAL_ADDR")
fi
if [ "$restarts" -gt 0 ]; then
    set -- --resume "$@"
    # The shared one sends processes to the addresses of those that died: https://github.com/pytorch/pytorch/issues/135712
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
fi
# Not -m, which would let files of the folder where this is run take the place of libraries.
launch="import sys; sys.path = list(filter(None, sys.path)); ${check}from torch.distributed.run import main; main()"
exec "${PYTHON:-python}" -c "$launch" "${meeting[@]}" --max-restarts "$restarts" \
    --nproc-per-node "$processes" "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
