"""From what, with what and how the run was made."""

from __future__ import annotations

from layersig.report.document import Block, Bullets, Code, Details, Listing, Section, Table, columns
from layersig.report.material import Material
from layersig.report.topic import Topic

_SHORT = 16


def section(material: Material) -> Section:
    """Sources, versions, machine, fingerprints, recipe."""
    manifest = material.manifest
    blocks: list[Block] = []
    if sources := manifest["sources"]:
        blocks.append(
            Table(
                "Sources",
                columns("role", "name", "declared", "used", "fallback", "revision", "digest", "licence"),
                tuple(
                    (
                        s["role"],
                        Code(s["label"]),
                        Code(s["spec"]),
                        Code(s["resolved"]),
                        "yes" if s.get("fallback") else "no",
                        Code(str(s.get("revision") or "\u2013")),
                        Code(str(s.get("digest") or "\u2013")[:_SHORT]),
                        str(s.get("licence") or "\u2013"),
                    )
                    for s in sources
                ),
            )
        )
        notes = tuple((Code(s["label"]), f": {note}") for s in sources for note in s.get("notes") or ())
        blocks += [Bullets(notes)] if notes else []
    facts = {
        "run": f"{manifest['name']}/{manifest['id']}",
        "status": material.findings.status,
        "command": " ".join(manifest["argv"]),
        "started": manifest["started"],
        "finished": manifest.get("finished"),
        "root seed": manifest["root_seed"],
        "seeds": ", ".join(map(str, manifest["seeds"])),
        **{f"machine: {key}": value for key, value in manifest["machine"].items()},
        **{f"version: {key}": value for key, value in manifest["versions"].items()},
    }
    body = tuple((key, Code(str(value))) for key, value in facts.items() if value not in (None, ""))
    blocks.append(Table("Run", columns("record", "value"), body))
    if packages := manifest.get("packages"):
        names = tuple((Code(name), Code(version)) for name, version in packages.items())
        every = Table("Every installed package", columns("package", "version"), names)
        blocks.append(Details(f"Packages ({len(names)})", (every,)))
    if inputs := manifest.get("inputs"):
        kept = Table(
            "Local files that the recipe reads; `layersig run repeat/recipe.toml` reads the copies",
            columns("key", "file", "copy in the run folder", "sha256"),
            tuple(
                (Code(each["key"]), Code(each["name"]), Code(each["file"] or "\u2013"), Code(each["sha256"][:_SHORT]))
                for each in inputs
            ),
        )
        blocks.append(Details(f"Local files ({len(inputs)})", (kept,)))
    if warnings := list(manifest["warnings"]):
        blocks.append(Details(f"Warnings of the run ({len(warnings)})", (Bullets(tuple((w,) for w in warnings)),)))
    if stages := manifest["stages"]:
        prints = Table(
            "Fingerprint of every stage: the hash of its code version, parameters, inputs and numerics",
            columns("stage", "fingerprint", "cached"),
            tuple(
                (s["id"], Code(str(s.get("fingerprint", "\u2013"))), "yes" if s.get("cached") else "no") for s in stages
            ),
        )
        blocks.append(Details(f"Fingerprints ({len(stages)})", (prints,)))
    for name, title in (("recipe.toml", "The recipe as written"), ("resolved.toml", "The recipe as resolved")):
        if (text := material.text(name)) is not None:
            blocks.append(Details(title, (Listing(name, (text,)),)))
    return Section("provenance", "Provenance", tuple(blocks))


TOPIC = Topic("provenance", section=section, place=230)
