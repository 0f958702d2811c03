"""ByzShield (MLSys 2021): training that stays correct while some workers lie."""
