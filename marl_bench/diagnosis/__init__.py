"""`marl-bench diagnose`: how good are the advantages that each rule estimates?"""
