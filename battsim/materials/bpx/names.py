"""Keys of the BPX schema, and of the user-defined block that is documented in `battsim.materials.bpx`."""

NEGATIVE, POSITIVE_ELECTRODE = "Negative electrode", "Positive electrode"
ELECTROLYTE, SEPARATOR, CELL, USER_DEFINED = "Electrolyte", "Separator", "Cell", "User-defined"

THICKNESS, POROSITY, EFFICIENCY = "Thickness [m]", "Porosity", "Transport efficiency"
CONDUCTIVITY, DIFFUSIVITY = "Conductivity [S.m-1]", "Diffusivity [m2.s-1]"
DIFFUSIVITY_ENERGY = "Diffusivity activation energy [J.mol-1]"
CONDUCTIVITY_ENERGY = "Conductivity activation energy [J.mol-1]"
TRANSFERENCE = "Cation transference number"
OCP, ENTROPIC = "OCP [V]", "Entropic change coefficient [V.K-1]"
HYSTERESIS = ("OCP (delithiation) [V]", "OCP (lithiation) [V]", "OCP hysteresis decay constant")
MINIMUM, MAXIMUM = "Minimum stoichiometry", "Maximum stoichiometry"
MAX_CONCENTRATION, RADIUS = "Maximum concentration [mol.m-3]", "Particle radius [m]"
AREA = "Surface area per unit volume [m-1]"
RATE, RATE_ENERGY = "Reaction rate constant [mol.m-2.s-1]", "Reaction rate constant activation energy [J.mol-1]"
PARTICLE = "Particle"

LAYER_KEYS = (THICKNESS, POROSITY, EFFICIENCY)
ELECTRODE_KEYS = (*LAYER_KEYS, CONDUCTIVITY)
PARTICLE_KEYS = (
    MINIMUM,
    MAXIMUM,
    MAX_CONCENTRATION,
    RADIUS,
    AREA,
    DIFFUSIVITY,
    DIFFUSIVITY_ENERGY,
    OCP,
    *HYSTERESIS,
    ENTROPIC,
    RATE,
    RATE_ENERGY,
)
ELECTROLYTE_KEYS = (TRANSFERENCE, DIFFUSIVITY, DIFFUSIVITY_ENERGY, CONDUCTIVITY, CONDUCTIVITY_ENERGY)

ELECTRODE_AREA = "Electrode area [m2]"
PAIRS = "Number of electrode pairs connected in parallel to make a cell"
LOWER, UPPER = "Lower voltage cut-off [V]", "Upper voltage cut-off [V]"
CAPACITY, REFERENCE = "Nominal cell capacity [A.h]", "Reference temperature [K]"
EXTERNAL_AREA, VOLUME = "External surface area [m2]", "Volume [m3]"
DENSITY, HEAT_CAPACITY = "Density [kg.m-3]", "Specific heat capacity [J.K-1.kg-1]"
CELL_KEYS = (
    ELECTRODE_AREA,
    PAIRS,
    LOWER,
    UPPER,
    CAPACITY,
    REFERENCE,
    EXTERNAL_AREA,
    VOLUME,
    DENSITY,
    HEAT_CAPACITY,
)

STATE, CONDITIONS, THERMAL, DEGRADATION = "State", "Initial conditions", "Thermal environment", "Degradation"
SOC = "Initial state-of-charge"
INITIAL_TEMPERATURE, AMBIENT = "Initial temperature [K]", "Ambient temperature [K]"
SALT = "Initial electrolyte concentration [mol.m-3]"
HYSTERESIS_STATES = ("Initial hysteresis state: Positive electrode", "Initial hysteresis state: Negative electrode")
CONDITION_KEYS = (SOC, INITIAL_TEMPERATURE, SALT, *HYSTERESIS_STATES)
THERMAL_KEYS = (AMBIENT, "Heat transfer coefficient [W.m-2.K-1]")
DEGRADATION_KEYS = ("LLI", "LAM: Positive electrode", "LAM: Negative electrode")

SALT_BEFORE_1 = "Initial concentration [mol.m-3]"
"""Where versions 0.x keep the initial salt concentration, in Electrolyte."""
HEAT_CONDUCTIVITY_BEFORE_1 = "Thermal conductivity [W.m-1.K-1]"
"""In Cell of versions 0.x; 1.0 dropped it."""
MOVED_IN_1 = {
    INITIAL_TEMPERATURE: f"{STATE}, {CONDITIONS} since version 1.0",
    AMBIENT: f"{STATE}, {THERMAL} since version 1.0",
    HEAT_CONDUCTIVITY_BEFORE_1: f"{USER_DEFINED} since version 1.0",
    SALT_BEFORE_1: f"{STATE}, {CONDITIONS} as {SALT!r} since version 1.0",
}

BINDER_CONDUCTIVITY, BINDER_POROSITY = "binder conductivity [S.m-1]", "binder porosity"
BINDER_TORTUOSITY, BINDER_COVERAGE = "binder tortuosity factor", "binder active coverage"
BINDER_RESISTANCE = "binder contact resistance [Ohm.m2]"
BULK_CONDUCTIVITY, BULK_DENSITY = "active material conductivity [S.m-1]", "active material density [kg.m-3]"
FILM = "film resistance [Ohm.m2]"
ALPHA_A, ALPHA_C = "anodic transfer coefficient", "cathodic transfer coefficient"
FITTED_MINIMUM, FITTED_MAXIMUM = "fitted minimum stoichiometry", "fitted maximum stoichiometry"
EXCHANGE_CURRENT = "exchange-current density at reference salt [A.m-2]"
SALT_EXPONENT = "exchange-current salt exponent"
THERMODYNAMIC_FACTOR, TRANSFERENCE_FUNCTION = "thermodynamic factor", "cation transference number"

BINDER_NAMES = (BINDER_CONDUCTIVITY, BINDER_POROSITY, BINDER_TORTUOSITY, BINDER_COVERAGE, BINDER_RESISTANCE)
MATERIAL_NAMES = (
    BULK_CONDUCTIVITY,
    BULK_DENSITY,
    FILM,
    ALPHA_A,
    ALPHA_C,
    FITTED_MINIMUM,
    FITTED_MAXIMUM,
    EXCHANGE_CURRENT,
    SALT_EXPONENT,
)
ELECTROLYTE_NAMES = (THERMODYNAMIC_FACTOR, TRANSFERENCE_FUNCTION)

FUNCTION_KEYS = (DIFFUSIVITY, CONDUCTIVITY, OCP, ENTROPIC, *HYSTERESIS[:2])
"""Keys whose value may be a formula."""


def named(place: str, name: str) -> str:
    """Key in the user-defined block of a quantity of an electrode, a component of a blend or the electrolyte."""
    return f"{place}: {name}"


def component(electrode: str, particle: str) -> str:
    """Place of a component of a blend; of the electrode itself where it is none."""
    return f"{electrode}, {particle}" if particle else electrode
