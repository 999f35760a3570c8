"""Statistics for layer rankings and for scores of arms: pure functions of numpy arrays, numpy and scipy only.

Every function names the unit it resamples or leaves out, takes its random generator as an argument, and returns a
frozen value. Import from the module that answers the question:

Selections and rankings
    What overlap is chance?                          overlap.uniform_law, .stratified_law, .relabelling_tests
    How much do two selections agree?                overlap.pairwise_kappa, .kappa_curve, .jaccard_matrix
    What do equal scores contribute?                 selections.membership, overlap.tied_overlap_law
    How much do two whole rankings agree?            rankcorr.spearman, rankcorr.pairwise_correlation
    How sure is a mean over pairs of runs?           jackknife.jackknife_mean
    Layers of one model for those of another?        carrying.by_depth, .by_name, .relative_ranks
    Do the seeds of a ranking agree above chance?    ceiling.noise_ceiling, .residual_ceiling
    What is the noise ceiling, and what is between?  agreement.agreement_jackknife_runs, .repeat_agreement
    Do they share layers?                            sharing.ratio_bound_jackknife_runs, sharing.sharing_test
    Do data sets differ in more than noise?          attenuation.corrected_between
    Are runs exchangeable between data sets?         agreement.label_permutation_test
    Do runs know single layers?                      identity.residual_agreement, identity.identity_gain
    Do rankings agree beyond type and depth?         surrogates.surrogate_test
    Where does the variance come from?               components.variance_components
    Which rank may a layer hold?                     rank_intervals.rank_intervals_seeds
    What would noise-free rankings agree to?         attenuation.disattenuated_correlation

    How early is a ranking there?                    milestones.milestone_agreement, .successive_agreement

Scores of arms
    Two checkpoints, items right or wrong?           paired.PairedShares (Tango), paired.mcnemar_items
    Two checkpoints, other values?                   means.mean_items, paired.sign_flip_test
    A mean with the interval that its runs allow?    tables.mean_of, tables.no_interval
    Nothing varies?                                  floors, tables.Floor
    Clusters, weights, fixed strata?                 means.unit_values, .unit_shares, .mean_clusters
    Two methods over seeds and items?                twoway.mean_squares, twoway.two_way_estimate
    A second opinion from 5 seeds on?                twoway.bootstrap_items_and_seeds
    A statistic that is not a mean of items?         resampled.estimate_from_resamples
    Better than matched random arms?                 results.monte_carlo_p
    As good as all layers?                           as_good.preserved, as_good.conclude
    What share of the score or of the gain is kept?  retention.ratio_of_tables, .mean_of_ratios
    Several tests at once, or all of them?           multiplicity.holm, .benjamini_hochberg, .intersection_union
    Which of many means that share items stand out?  simultaneous.largest_of
    Which rank may an arm hold?                      rank_intervals.rank_intervals_items_and_seeds
    Does it depend on a property, for few values?    associations.monotone, .related
    A trend over points, and where is the optimum?   curves.trend, curves.band, curves.best_set
    What do tests err at that are repeated?          looks.repeated_level
    What can this design detect?                     power.detectable_of, .detectable_two_way
    What does equivalence take?                      equivalence.power_tost, .items_for_equivalence,
                                                     .seeds_for_equivalence
    What may the report say?                         verdicts.verdict_of, sentences.judge, .estimation, assay.assay,
                                                     agreement_sentences

`docs/calibration.md` shows how often each of them errs in simulated studies.
"""
