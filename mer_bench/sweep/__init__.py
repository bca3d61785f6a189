"""Many runs from one file: the plan, the ledger of what is claimed, and the engines that work it off. No torch here."""
