"""A campaign in other programs' formats: tables, Optuna studies, networks; not matloop's own record."""
