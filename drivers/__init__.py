"""What measures a trial: functions, programs, people, simulations, training; not where it runs."""
