#!/usr/bin/env bash
#SBATCH --job-name=train
#SBATCH --time=04:00:00
#SBATCH --gres=gpu:1
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append

# SLURM sends USR1 three minutes before the limit, and TERM when the job is preempted. The run saves, and
# the program ends with 75: the job is put into the queue again, and goes on. Any other code ends it.
set -u
srun "${PYTHON:-python}" "${PROGRAM:-train.py}" "$@"
code=$?
if [ "$code" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
