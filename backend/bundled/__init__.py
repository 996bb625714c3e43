"""The scripts that made what ships with the program.

They are run by hand, from a checkout, and are the only code that needs scikit-learn; what they write lies in
`resources/` and is all that the program reads.
"""
