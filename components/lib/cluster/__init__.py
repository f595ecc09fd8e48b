"""What a cluster is asked: where each Pod runs, submit, schedule, doctor, and trainings as TrainJobs.

Besides the steps' component.py and the local runner, only this wing knows KFP.
"""
