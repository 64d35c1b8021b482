"""How each number is made: one entry a kind of number, to which every number of a report links."""

from __future__ import annotations

from typing import NamedTuple

from lem.analysis import FEW, Analysis
from lem.study import Study


class Method(NamedTuple):
    """One kind of number."""

    anchor: str
    title: str
    text: str
    formula: str | None = None
    source: str | None = None


#: Anchor -> title, formula, source, explanation. Kept in the order of the page.
_FIXED = (
    Method(
        "m-unit",
        "Units: what is counted as one",
        "The unit of all statistics is the dilemma (the probe, or the cluster of its wordings). "
        "Scores of several samples of a probe are averaged first, then those of the wordings of a "
        "dilemma. n is always the number of such units, not of answers.",
        "score of a unit = mean over its wordings of (mean over samples)",
        "Miller 2024, Adding Error Bars to Evals, arXiv 2411.00640",
    ),
    Method(
        "m-mean",
        "Mean of one condition, and its interval",
        "The interval describes one condition alone. Whether two conditions differ is never read "
        "off two such intervals, but off their paired difference.",
        "x̄ ± t(n−1) · s / √n",
        "Student 1908",
    ),
    Method(
        "m-spread",
        "Standard deviation and quartiles of one condition",
        "Over units; s with n − 1. Quartiles by linear interpolation between order statistics.",
    ),
    Method(
        "m-words",
        "Words an answer",
        "Mean number of words of an answer, averaged within units first.",
    ),
    Method(
        "m-rho",
        "Score and length (ρ)",
        "Spearman's rank correlation of score and number of words over the answers of one "
        "condition: near +1, the score mostly follows the length.",
        source="Spearman 1904",
    ),
    Method(
        "m-validity",
        "Score against judges and people",
        "Spearman's rank correlation of the score with what a judge or a person said of the same "
        "answers, over all models and conditions. Answers to one probe are not independent, so the "
        "interval is rather too narrow.",
        source="Spearman 1904; interval: Bonett & Wright 2000",
    ),
    Method(
        "m-missing",
        "Missing answers and doubtful ones",
        "Missing: probes that another condition of the same model has an answer to. Unscored: the "
        "scorer does not apply. Empty: no text. Cut: stopped at the token limit. End unknown: the "
        "source does not say how the answer ended. Malformed: withheld by a server, or of a broken "
        "form. Refused: opens by declining. Loops: at least one in five of its runs of four words "
        "was said before. Not English: by statistical language identification. Leaks: recites a "
        "passage of a kernel. "
        "All but the missing and unscored ones are in the means: leaving them out would favour a "
        "condition that fails more often.",
        "share = count / answers (missing: / probes asked)",
    ),
    Method(
        "m-diff",
        "Paired difference",
        "Both conditions answered the same probes, with the same model and settings; each unit "
        "gives one difference, and the mean of these is the effect. Units without a partner are "
        "listed as unmatched and not used.",
        "d = score under the condition − score under the reference;  effect = mean of d",
    ),
    Method(
        "m-t",
        "t interval and t test",
        "The interval of the mean difference, and the two-sided p of a true mean of 0 (before any "
        "adjustment). Marked “wide tail” where n is below 25 · skewness²: its ends, and p, are "
        "then less sure than they say. Where all differences are one number, t says nothing and p "
        "is 2 / 2ⁿ, the share of sign patterns so one-sided.",
        "d̄ ± t(n−1) · s / √n",
        "Student 1908; Cochran 1977, Sampling Techniques, p. 42",
    ),
    Method(
        "m-boot",
        "Bootstrap interval",
        "Bootstrap-t interval of the mean difference: units are drawn anew with replacement. It "
        "needs no normal distribution. None below n = 5.",
        "d̄ − s/√n · quantiles of t* = (d̄* − d̄) / (s*/√n)",
        "Efron & Tibshirani 1993, section 12.5",
    ),
    Method(
        "m-median",
        "Median difference",
        "With the interval between two order statistics, which covers at least 95 % whatever the "
        "distribution. None below n = 6.",
        "[d(k), d(n−k+1)], k the largest with P(Bin(n, ½) < k) ≤ 2.5 %",
        "Conover 1999, section 3.2",
    ),
    Method(
        "m-sign",
        "Sign test",
        "Two-sided exact test of as many units better as worse; units within the tie are left out.",
        "p = 2 · P(Bin(better + worse, ½) ≤ min(better, worse))",
        "Conover 1999, section 3.4",
    ),
    Method(
        "m-wilcoxon",
        "Signed-rank test",
        "Two-sided; zeros left out, ties share ranks; exact up to 200 differences.",
        source="Wilcoxon 1945",
    ),
    Method(
        "m-holm",
        "p adjusted for the number of tests",
        "The families of tests are fixed, whatever the data say: every kernel against the baseline "
        "on every model of the report; likewise every kernel against its placebo, every tuned "
        "model against its base, and so on. Within a family p is adjusted by Holm, so that each "
        "family by itself is wrong at most once in twenty times; a report of some of the models "
        "that were asked counts too few tests. Only the primary score's families were declared. "
        "What has no family is exploratory: its p is not adjusted and proves nothing.",
        "p(i) adjusted = max over j ≤ i of min(1, (m − j + 1) · p(j))",
        "Holm 1979",
    ),
    Method(
        "m-dz",
        "Standardised effect d_z",
        "The mean difference in units of the standard deviation of the differences.",
        "d_z = d̄ / s",
        "Cohen 1988",
    ),
    Method(
        "m-moves",
        "Better, same, worse",
        "Units more than half a point above, within, or more than half a point below the "
        "reference; the share with its interval by Wilson's score.",
        source="Wilson 1927",
    ),
    Method(
        "m-length",
        "Effect at equal length",
        "Longer answers often score higher whatever they say. Differences are regressed on the "
        "differences of log length; the fitted difference where the lengths are equal is the "
        "adjusted effect. Errors are HC3. It is no causal decomposition: the kernel may cause the "
        "length. It stands beside the raw effect, never instead of it. None below n = 8, or where "
        "lengths do not vary enough. “Extrapolated”: (nearly) all pairs differ in length one way. "
        "In a finding its p counts all tests of the family (Bonferroni).",
        "d = effect + slope · log(words / words of the reference) + error",
        "Dubois et al. 2024, arXiv 2404.04475 (the idea); MacKinnon & White 1985 (HC3)",
    ),
    Method(
        "m-complete",
        "Complete pairs only",
        "The effect over the pairs of which no answer is known to be cut off at the token limit. "
        "These are a selection: where a kernel changes which answers are cut, they are no fair "
        "sample of the probes.",
    ),
    Method(
        "m-worst",
        "Worst case",
        "Where the conditions differ by more than two points in 100 in their share of missing "
        "scores: the mean difference if every missing score were the lowest seen, or the highest. "
        "Not worked out for differences of differences.",
        "all missing scores set to the lowest seen in one condition and the highest in the other",
    ),
    Method(
        "m-detectable",
        "Detectable effect",
        "The smallest true mean difference that a comparison of this many units finds with 80 % "
        "power, at the level of its family. “Not shown” means little where this is large. None "
        "where the differences do not vary.",
        "(t(1 − α/2) + t(0.8)) · s / √n,  α = 5 % / size of the family",
        "Bloom 1995",
    ),
    Method(
        "m-needed",
        "Units needed",
        "How many units would find a true difference as large as the observed one, with 80 % power "
        "in one test; from the noncentral t distribution. It is as uncertain as the difference it "
        "takes for true, and an observed one that is shown tends to be too large.",
        source="Cohen 1988, chapter 2",
    ),
    Method(
        "m-noise",
        "Noise floor",
        "The baseline is asked a second time. The largest mean difference that the interval of "
        "this comparison allows is the noise floor of the model; effects no larger are set back in "
        "grey, and nothing is concluded from them. Where that interval is wide (few units), real "
        "effects may lie below the floor.",
        "floor = max(|low|, |high|) of the interval of baseline again − baseline",
    ),
    Method(
        "m-domains",
        "Effects by domain",
        "A domain has few probes, so its raw mean is uncertain. It is pulled towards the mean of "
        "all domains, the more the fewer probes it has and the less the domains differ (empirical "
        "best linear unbiased predictor, REML). p: raw t test of each domain, adjusted by "
        "Benjamini–Hochberg over the domains of one comparison; all of it is exploratory.",
        "pooled = μ + τ² / (τ² + σ²/n) · (raw − μ)",
        "Searle, Casella & McCulloch 1992; Prasad & Rao 1990; Benjamini & Hochberg 1995",
    ),
    Method(
        "m-pool",
        "Effects pooled over models",
        "A random-effects meta-analysis of the models' effects with their standard errors (REML, "
        "Hartung–Knapp interval, never narrower than without their factor). Models tuned from "
        "another one of the study are left out. I²: the share of their spread that is not their "
        "own errors. The prediction interval is where the effect on one more such model would "
        "lie. Models that answer the same probes err together: the error of μ is that of the same "
        "weighted mean with the covariances of the models' effects over units, where it is larger; "
        "τ and I² leave them out and are rather too small. Exploratory.",
        "effect of a model = μ + (sd τ) + (its error);  error of μ = √(w'(τ²I + C)w)",
        "Knapp & Hartung 2003; Röver, Knapp & Friede 2015; Higgins & Thompson 2002; Higgins, "
        "Thompson & Spiegelhalter 2009",
    ),
    Method(
        "m-rank",
        "Ranks and groups",
        "Over the units that all models have. All pairs of models are compared by paired t tests, "
        "adjusted together by Holm. Models "
        "that share a letter are not told apart. The interval of a rank is a bootstrap percentile "
        "interval, the units drawn for all models at once.",
        source="Piepho 2004 (letters); Hall & Miller 2009 (ranks)",
    ),
    Method(
        "m-scale",
        "Score and size",
        "Within one family and version of at least three untuned models: each unit's baseline "
        "score is regressed on log₂ of the size; the mean of these slopes is the change for each "
        "doubling, over the units that all have. Its interval speaks of other probes, not of other "
        "models: whatever else tells so few models apart is in the slope. Exploratory.",
        "slope of a unit = Σ x·y / Σ x²,  x = log₂(size) − mean",
    ),
    Method(
        "m-models",
        "Differences between models",
        "Models are compared on the questions they share, paired like conditions; versions where "
        "their sizes are within a factor of 1.6. Realignment "
        "resistance is the kernel's effect on a tuned model minus its effect on the untuned base, "
        "over the probes that all four conditions answered: the drop of a tuned model alone shows "
        "nothing. Like every effect over the baseline it may be that of any long prompt; and where "
        "one of the two is near the highest score there is, it has less room to move.",
        "resistance = (kernel − baseline) on the tuned model − (kernel − baseline) on its base",
    ),
    Method(
        "m-layout",
        "Layout",
        "What the JSON form of a kernel does beyond its prose form: the difference of their "
        "effects over their own placebos; without placebos, JSON minus prose.",
        "(json − placebo-json) − (txt − placebo-txt)",
    ),
    Method(
        "m-variance",
        "Where the noise comes from",
        "Variance of the baseline scores between units and between the answers to one unit (its "
        "samples and wordings), where there are several. ICC near 1: more answers to the same "
        "units would not help, more units would.",
        "between = (MSB − MSW) / n₀;  ICC = between / (between + within)",
        "Searle, Casella & McCulloch 1992, section 3.6",
    ),
    Method(
        "m-stored",
        "Stored and recomputed scores",
        "A published file states a score beside each answer. Scores of version 2 (14 counts) are "
        "worked out again from the text and must agree to the two decimals stored; version 1 (8 "
        "counts) is another score under the same name and is not recomputed.",
    ),
    Method(
        "m-finding",
        "What the findings say",
        "A difference is called shown when its p, adjusted over its family, is below 5 %, over at "
        f"least {FEW} units. An effect of what a kernel says is claimed, on this score, only if it "
        "is shown against the baseline, beyond the noise floor, against its placebo (a neutral "
        "text of the same layout and length: against the baseline alone it could be that of any "
        "long prompt), beyond the noise floor there too, and at equal length. “Not told from any "
        "prompt” and “not told from length” say what could not be excluded, not what the cause is. "
        "“Not shown” is no proof of no effect; read the detectable effect beside it.",
    ),
)


def methods(study: Study, analysis: Analysis) -> list[Method]:
    """All entries, those of this study's scorers and seed included."""
    resamples = sorted(
        {
            c.effect.boot_resamples
            for part in analysis.scorers
            for c in part.contrasts
            if c.effect and c.effect.boot_resamples
        }
    )
    drawn = ", ".join(f"{n:,}" for n in resamples) or "no"
    found = [
        Method(
            score_anchor(part.scorer),
            f"Score: {part.label}",
            f"{part.caution} Computed by the scorer {part.scorer}, version {part.version}, of each "
            "answer's text. A scorer's version changes whenever any score of any text could.",
        )
        for part in analysis.scorers
    ]
    for method in _FIXED:
        if method.anchor == "m-boot":
            text = f"{method.text} Here: {drawn} resamples, seed {analysis.seed}."
            method = method._replace(text=text)
        found.append(method)
    found.append(
        Method(
            "m-seed",
            "Computing it again",
            f"All resampling is seeded ({analysis.seed}), so the same answers give the same page, "
            "byte for byte. The differences behind each comparison are listed with it; all numbers "
            "with ten digits are in effects.json beside the answers.",
        )
    )
    return found


def score_anchor(scorer: str) -> str:
    """Anchor of what a scorer's number is."""
    from lem.report.cells import anchor

    return anchor("m-score", scorer)
