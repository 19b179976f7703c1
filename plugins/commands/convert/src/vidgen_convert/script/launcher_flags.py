"""Flags of what starts other programs: torchrun, accelerate, deepspeed."""

from vidgen_convert.rule import needless, none, step
from vidgen_convert.script.flags import Flag, Flags

NODES = "start the same command on every node with torchrun's own flags"
_ADDRESS = Flag(none(NODES))

LAUNCHER: Flags = {
    "--nproc_per_node": Flag(step("the command line", "vidgen-run RECIPE --nproc N")),
    "--nproc-per-node": Flag(step("the command line", "vidgen-run RECIPE --nproc N")),
    "--num_processes": Flag(step("the command line", "vidgen-run RECIPE --nproc N")),
    "--num_gpus": Flag(step("the command line", "vidgen-run RECIPE --nproc N")),
    "--config_file": Flag(step("parallel.type", "by its name: zero2, zero3 or ddp; the file is not read")),
    "--nnodes": _ADDRESS,
    "--num_machines": _ADDRESS,
    "--machine_rank": _ADDRESS,
    "--node_rank": _ADDRESS,
    "--main_process_ip": _ADDRESS,
    "--main_process_port": _ADDRESS,
    "--master_addr": _ADDRESS,
    "--master_port": _ADDRESS,
    "--master-port": _ADDRESS,
    "--rdzv_endpoint": _ADDRESS,
    "--rdzv_backend": _ADDRESS,
    "--hostfile": _ADDRESS,
    "--standalone": Flag(needless("one node needs no address"), None),
    "--multi_gpu": Flag(needless("the number of processes says it"), None),
    "--mixed_precision": Flag(none("--mixed_precision behind the program decides")),
}
